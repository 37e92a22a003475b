"""What the worker pool needs of the system, as LLVM IR: pausing, sleeping, starting threads.

pause()                a hint to the core inside a spin loop
wait(word, value)      sleep while the word holds the value; may also return early
wake(word)             every thread that sleeps on the word goes on
spawn(handle, w) -> i1 start @worker(w); false if the system refuses
join(handle), yield()
"""

import platform
import sys

BACKENDS = ("futex", "pthread", "windows")

_FUTEX_CALL = {"x86_64": 202, "amd64": 202, "aarch64": 98, "arm64": 98, "riscv64": 98}


def primitives(backend: str | None = None) -> str:
    """IR of the functions above, and of flambeau_pool_init and flambeau_spin."""
    machine = platform.machine().lower()
    if backend is None:
        backend = _own_backend(machine)
    if backend not in BACKENDS:
        raise ValueError(f"primitives(backend): expected one of {BACKENDS}, got {backend!r}")
    sleep = _futex(machine) if backend == "futex" else _condition(backend)
    return "\n".join([_pause(machine), sleep, _threads(backend)])


def _own_backend(machine):
    if sys.platform == "win32":
        return "windows"
    return "futex" if sys.platform == "linux" and machine in _FUTEX_CALL else "pthread"


def _pause(machine):
    if machine in ("x86_64", "amd64", "i686"):
        hint, call = "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    elif machine in ("aarch64", "arm64"):
        hint, call = "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
    else:
        hint, call = "", 'fence syncscope("singlethread") seq_cst'
    return f"""
{hint}
define internal void @pause() alwaysinline {{
  {call}
  ret void
}}

define void @flambeau_spin(i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ %n, %entry ], [ %j, %loop ]
  {call}
  %j = sub i64 %i, 1
  %more = icmp sgt i64 %j, 0
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def _futex(machine):
    """wait and wake from the kernel's futex, private to the process."""
    number = _FUTEX_CALL[machine]
    return f"""
declare i64 @syscall(i64, ...)

define void @flambeau_pool_init() {{
  ret void
}}

define internal void @wait(ptr %word, i32 %value) noinline {{
  call i64 (i64, ...) @syscall(
    i64 {number}, ptr %word, i32 128, i32 %value, ptr null, ptr null, i32 0)
  ret void
}}

define internal void @wake(ptr %word) noinline {{
  call i64 (i64, ...) @syscall(
    i64 {number}, ptr %word, i32 129, i32 2147483647, ptr null, ptr null, i32 0)
  ret void
}}
"""


def _condition(backend):
    """wait and wake from one mutex and one condition variable, zero-initialised."""
    if backend == "windows":
        lock, unlock, broadcast = (
            "AcquireSRWLockExclusive",
            "ReleaseSRWLockExclusive",
            "WakeAllConditionVariable",
        )
        declares = f"""
declare void @{lock}(ptr)
declare void @{unlock}(ptr)
declare void @{broadcast}(ptr)
declare i32 @SleepConditionVariableSRW(ptr, ptr, i32, i32)"""
        kind, init = "void", ""
        sleep = "call i32 @SleepConditionVariableSRW(ptr @condition, ptr @mutex, i32 -1, i32 0)"
    else:
        lock, unlock, broadcast = (
            "pthread_mutex_lock",
            "pthread_mutex_unlock",
            "pthread_cond_broadcast",
        )
        declares = f"""
declare i32 @{lock}(ptr)
declare i32 @{unlock}(ptr)
declare i32 @{broadcast}(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_cond_init(ptr, ptr)"""
        kind = "i32"
        init = """call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @condition, ptr null)"""
        sleep = "call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)"
    return f"""
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64
{declares}

define void @flambeau_pool_init() {{
  {init}
  ret void
}}

define internal void @wait(ptr %word, i32 %value) noinline {{
  call {kind} @{lock}(ptr @mutex)
  %now = load atomic i32, ptr %word seq_cst, align 4
  %same = icmp eq i32 %now, %value
  br i1 %same, label %sleep, label %done
sleep:
  {sleep}
  br label %done
done:
  call {kind} @{unlock}(ptr @mutex)
  ret void
}}

define internal void @wake(ptr %word) noinline {{
  call {kind} @{lock}(ptr @mutex)
  call {kind} @{broadcast}(ptr @condition)
  call {kind} @{unlock}(ptr @mutex)
  ret void
}}
"""


def _threads(backend):
    """spawn(handle, w) -> did it start; join(handle); yield()."""
    return _WINDOWS_THREADS if backend == "windows" else _POSIX_THREADS


_WINDOWS_THREADS = """
declare ptr @CreateThread(ptr, i64, ptr, ptr, i32, ptr)
declare i32 @WaitForSingleObject(ptr, i32)
declare i32 @CloseHandle(ptr)
declare i32 @SwitchToThread()

define internal i1 @spawn(ptr %handle, i32 %w) noinline {
  %wide = zext i32 %w to i64
  %arg = inttoptr i64 %wide to ptr
  %h = call ptr @CreateThread(ptr null, i64 0, ptr @worker, ptr %arg, i32 0, ptr null)
  store ptr %h, ptr %handle
  %ok = icmp ne ptr %h, null
  ret i1 %ok
}

define internal void @join(ptr %handle) noinline {
  %h = load ptr, ptr %handle
  call i32 @WaitForSingleObject(ptr %h, i32 -1)
  call i32 @CloseHandle(ptr %h)
  ret void
}

define internal void @yield() noinline {
  call i32 @SwitchToThread()
  ret void
}
"""

_POSIX_THREADS = """
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(ptr, ptr)
declare i32 @sched_yield()

define internal i1 @spawn(ptr %handle, i32 %w) noinline {
  %wide = zext i32 %w to i64
  %arg = inttoptr i64 %wide to ptr
  %r = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %arg)
  %ok = icmp eq i32 %r, 0
  ret i1 %ok
}

define internal void @join(ptr %handle) noinline {
  %h = load ptr, ptr %handle
  call i32 @pthread_join(ptr %h, ptr null)
  ret void
}

define internal void @yield() noinline {
  call i32 @sched_yield()
  ret void
}
"""
