"""The native half of the worker pool, as LLVM IR.

One job runs at a time. Its extent is cut into at most `threads` equal parts; the boundaries
depend on extent, grain and thread count only, and part i is always told that it is worker i.
Each worker w has a mailbox word on a cache line of its own:

    EMPTY -> POSTED   the caller, when part w of a job is there to be taken
    POSTED -> EMPTY   whoever takes it by compare-and-swap: worker w, or the caller itself,
                      which after its own part takes all parts that nobody has begun
    EMPTY -> ASLEEP   the worker, after spinning in vain; posting to it then also wakes it
    any -> STOP       the pool's end, before a fork

The job's fields are read only between taking a part and counting it as done (`pending`), and the
caller writes the next job only when `pending` is 0: a late worker cannot see half of a job. As the
caller takes what is left, a worker that is slow, or does not exist, costs time but never a hang.
`busy` is held from before the fields are written until the job is done; who does not get it (a
nested call, or a second Python thread) runs the whole extent itself.
"""

from flambeau.runtime import threads_os

MAX_THREADS = 256

# Byte offsets in @flambeau_pool. Words that different threads write are 128 bytes apart.
BUSY, PENDING, CALLER_ASLEEP, THREADS, SPINS, STARTED = 0, 128, 132, 256, 260, 264
_BODY, _ARGS, _EXTENT, _PART = 384, 392, 400, 408
_MAIL, _MAIL_STRIDE = 512, 128  # mailbox word, then at +8 the thread's handle
_SIZE = _MAIL + _MAIL_STRIDE * MAX_THREADS

_EMPTY, _POSTED, _ASLEEP, _STOP = 0, 1, 2, 3

EXPORTS = (
    "flambeau_parallel_for",
    "flambeau_pool",
    "flambeau_pool_init",
    "flambeau_pool_stop",
    "flambeau_spin",
)


def module(backend: str | None = None) -> str:
    """IR of the pool; `backend` is one of threads_os.BACKENDS, this system's own if None."""
    return "\n".join([_STATE, threads_os.primitives(backend), _WORKER, _PARALLEL, _END])


def _at(name, offset):
    return f"  %{name} = getelementptr i8, ptr @flambeau_pool, i64 {offset}"


_STATE = f"""
@flambeau_pool = global [{_SIZE} x i8] zeroinitializer, align 128

define internal ptr @mailbox(i32 %w) alwaysinline {{
  %i = zext i32 %w to i64
  %o = mul i64 %i, {_MAIL_STRIDE}
  %p = getelementptr i8, ptr getelementptr (i8, ptr @flambeau_pool, i64 {_MAIL}), i64 %o
  ret ptr %p
}}
"""


_WORKER = f"""
define internal void @run_part(i32 %w) {{
entry:
{_at("body_at", _BODY)}
{_at("args_at", _ARGS)}
{_at("extent_at", _EXTENT)}
{_at("part_at", _PART)}
{_at("pending", PENDING)}
{_at("asleep_at", CALLER_ASLEEP)}
  %body = load ptr, ptr %body_at
  %args = load ptr, ptr %args_at
  %extent = load i64, ptr %extent_at
  %part = load i64, ptr %part_at
  %index = zext i32 %w to i64
  %begin = mul i64 %index, %part
  %next = add i64 %begin, %part
  %inside = icmp slt i64 %next, %extent
  %end = select i1 %inside, i64 %next, i64 %extent
  call void %body(ptr %args, i64 %begin, i64 %end, i64 %index)
  %before = atomicrmw sub ptr %pending, i32 1 seq_cst
  %last = icmp eq i32 %before, 1
  br i1 %last, label %look, label %done
look:
  %asleep = load atomic i32, ptr %asleep_at seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %rouse, label %done
rouse:
  call void @wake(ptr %pending)
  br label %done
done:
  ret void
}}

define internal ptr @worker(ptr %arg) {{
entry:
  %wide = ptrtoint ptr %arg to i64
  %w = trunc i64 %wide to i32
  %mail = call ptr @mailbox(i32 %w)
{_at("spins_at", SPINS)}
  br label %fresh
fresh:
  %limit = load i32, ptr %spins_at
  br label %look
look:
  %n = phi i32 [ 0, %fresh ], [ %n1, %again ]
  %seen = load atomic i32, ptr %mail monotonic, align 4
  switch i32 %seen, label %idle [ i32 {_POSTED}, label %take
                                  i32 {_STOP}, label %end ]
take:
  %pair = cmpxchg ptr %mail, i32 {_POSTED}, i32 {_EMPTY} seq_cst seq_cst
  %mine = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %mine, label %run, label %fresh
run:
  call void @run_part(i32 %w)
  br label %fresh
idle:
  %n1 = add i32 %n, 1
  %patient = icmp slt i32 %n1, %limit
  br i1 %patient, label %again, label %tired
again:
  call void @pause()
  br label %look
tired:
  %slept = cmpxchg ptr %mail, i32 {_EMPTY}, i32 {_ASLEEP} seq_cst seq_cst
  %agreed = extractvalue {{ i32, i1 }} %slept, 1
  br i1 %agreed, label %sleep, label %fresh
sleep:
  call void @wait(ptr %mail, i32 {_ASLEEP})
  %now = load atomic i32, ptr %mail seq_cst, align 4
  %still = icmp eq i32 %now, {_ASLEEP}
  br i1 %still, label %sleep, label %fresh
end:
  ret ptr null
}}

define internal void @start(i32 %wanted) noinline {{
entry:
{_at("started_at", STARTED)}
  %first = load i32, ptr %started_at
  br label %loop
loop:
  %w = phi i32 [ %first, %entry ], [ %next, %spawned ]
  %more = icmp slt i32 %w, %wanted
  br i1 %more, label %make, label %done
make:
  %next = add i32 %w, 1
  %mail = call ptr @mailbox(i32 %next)
  %handle = getelementptr i8, ptr %mail, i64 8
  store atomic i32 {_EMPTY}, ptr %mail seq_cst, align 4
  %ok = call i1 @spawn(ptr %handle, i32 %next)
  br i1 %ok, label %spawned, label %done
spawned:
  store i32 %next, ptr %started_at
  br label %loop
done:
  ret void
}}
"""

# Parts of 512 and more are rounded up to 64, so that boundaries fall between vectors and lines.
_PARALLEL = f"""
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)

define internal void @post(i32 %parts) {{
entry:
  br label %loop
loop:
  %w = phi i32 [ 1, %entry ], [ %next, %posted ]
  %more = icmp slt i32 %w, %parts
  br i1 %more, label %send, label %done
send:
  %next = add i32 %w, 1
  %mail = call ptr @mailbox(i32 %w)
  %was = atomicrmw xchg ptr %mail, i32 {_POSTED} seq_cst
  %asleep = icmp eq i32 %was, {_ASLEEP}
  br i1 %asleep, label %rouse, label %posted
rouse:
  call void @wake(ptr %mail)
  br label %posted
posted:
  br label %loop
done:
  ret void
}}

define internal void @take_rest(i32 %parts) {{
entry:
  br label %loop
loop:
  %w = phi i32 [ 1, %entry ], [ %next, %taken ]
  %more = icmp slt i32 %w, %parts
  br i1 %more, label %look, label %done
look:
  %next = add i32 %w, 1
  %mail = call ptr @mailbox(i32 %w)
  %seen = load atomic i32, ptr %mail monotonic, align 4
  %there = icmp eq i32 %seen, {_POSTED}
  br i1 %there, label %take, label %taken
take:
  %pair = cmpxchg ptr %mail, i32 {_POSTED}, i32 {_EMPTY} seq_cst seq_cst
  %mine = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %mine, label %run, label %taken
run:
  call void @run_part(i32 %w)
  br label %taken
taken:
  br label %loop
done:
  ret void
}}

define internal void @finish() {{
entry:
{_at("pending", PENDING)}
{_at("asleep_at", CALLER_ASLEEP)}
{_at("spins_at", SPINS)}
  %limit = load i32, ptr %spins_at
  br label %look
look:
  %n = phi i32 [ 0, %entry ], [ %n1, %again ]
  %left = load atomic i32, ptr %pending acquire, align 4
  %over = icmp eq i32 %left, 0
  br i1 %over, label %done, label %idle
idle:
  %n1 = add i32 %n, 1
  %patient = icmp slt i32 %n1, %limit
  br i1 %patient, label %again, label %tired
again:
  call void @pause()
  br label %look
tired:
  store atomic i32 1, ptr %asleep_at seq_cst, align 4
  br label %check
check:
  %now = load atomic i32, ptr %pending seq_cst, align 4
  %zero = icmp eq i32 %now, 0
  br i1 %zero, label %awake, label %sleep
sleep:
  call void @wait(ptr %pending, i32 %now)
  br label %check
awake:
  store atomic i32 0, ptr %asleep_at seq_cst, align 4
  br label %done
done:
  ret void
}}

define void @flambeau_parallel_for(ptr %body, ptr %args, i64 %extent, i64 %grain) {{
entry:
{_at("busy", BUSY)}
{_at("threads_at", THREADS)}
{_at("started_at", STARTED)}
{_at("pending", PENDING)}
{_at("body_at", _BODY)}
{_at("args_at", _ARGS)}
{_at("extent_at", _EXTENT)}
{_at("part_at", _PART)}
  %work = icmp sgt i64 %extent, 0
  br i1 %work, label %count, label %done
count:
  %threads32 = load atomic i32, ptr %threads_at monotonic, align 4
  %threads = zext i32 %threads32 to i64
  %least = call i64 @llvm.smax.i64(i64 %grain, i64 1)
  %fit = udiv i64 %extent, %least
  %n = call i64 @llvm.smin.i64(i64 %fit, i64 %threads)
  %many = icmp sgt i64 %n, 1
  br i1 %many, label %enter, label %serial
enter:
  %taken = load atomic i32, ptr %busy monotonic, align 4
  %free = icmp eq i32 %taken, 0
  br i1 %free, label %lock, label %serial
lock:
  %pair = cmpxchg ptr %busy, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %mine, label %cut, label %serial
serial:
  call void %body(ptr %args, i64 0, i64 %extent, i64 0)
  br label %done
cut:
  %n1 = sub i64 %n, 1
  %up = add i64 %extent, %n1
  %even = udiv i64 %up, %n
  %big = icmp sge i64 %even, 512
  %plus = add i64 %even, 63
  %rounded = and i64 %plus, -64
  %part = select i1 %big, i64 %rounded, i64 %even
  %part1 = sub i64 %part, 1
  %up2 = add i64 %extent, %part1
  %parts64 = udiv i64 %up2, %part
  %parts = trunc i64 %parts64 to i32
  store ptr %body, ptr %body_at
  store ptr %args, ptr %args_at
  store i64 %extent, ptr %extent_at
  store i64 %part, ptr %part_at
  store atomic i32 %parts, ptr %pending seq_cst, align 4
  %wanted = sub i32 %parts, 1
  %started = load i32, ptr %started_at
  %short = icmp slt i32 %started, %wanted
  br i1 %short, label %grow, label %go
grow:
  call void @start(i32 %wanted)
  br label %go
go:
  call void @post(i32 %parts)
  call void @run_part(i32 0)
  call void @take_rest(i32 %parts)
  call void @finish()
  store atomic i32 0, ptr %busy release, align 4
  br label %done
done:
  ret void
}}
"""

# Leaves `busy` set: the caller clears it when the fork is over.
_END = f"""
define void @flambeau_pool_stop() {{
entry:
{_at("busy", BUSY)}
{_at("started_at", STARTED)}
  br label %enter
enter:
  %pair = cmpxchg ptr %busy, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %mine, label %locked, label %wait
wait:
  call void @yield()
  br label %enter
locked:
  %started = load i32, ptr %started_at
  br label %tell
tell:
  %w = phi i32 [ 1, %locked ], [ %next, %told ]
  %more = icmp sle i32 %w, %started
  br i1 %more, label %send, label %gather
send:
  %next = add i32 %w, 1
  %mail = call ptr @mailbox(i32 %w)
  %was = atomicrmw xchg ptr %mail, i32 {_STOP} seq_cst
  %asleep = icmp eq i32 %was, {_ASLEEP}
  br i1 %asleep, label %rouse, label %told
rouse:
  call void @wake(ptr %mail)
  br label %told
told:
  br label %tell
gather:
  br label %collect
collect:
  %v = phi i32 [ 1, %gather ], [ %vnext, %end_one ]
  %left = icmp sle i32 %v, %started
  br i1 %left, label %end_one, label %done
end_one:
  %vnext = add i32 %v, 1
  %box = call ptr @mailbox(i32 %v)
  %handle = getelementptr i8, ptr %box, i64 8
  call void @join(ptr %handle)
  store atomic i32 {_EMPTY}, ptr %box seq_cst, align 4
  br label %collect
done:
  store i32 0, ptr %started_at
  ret void
}}
"""
