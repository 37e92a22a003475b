"""The native half of the worker pool: what a kernel's caller does, as LLVM IR.

The state, the protocol and the workers are in threads_worker.
"""

from flambeau.runtime import threads_os, threads_worker
from flambeau.runtime.threads_worker import (
    ARGS,
    ASLEEP,
    BODY,
    BUSY,
    CALLER_ASLEEP,
    DEFERRED,
    EMPTY,
    EXTENT,
    MOST,
    MOST_AT,
    PART,
    PENDING,
    POSTED,
    SPINS,
    STARTED,
    STOP,
    THREADS,
    at,
)

EXPORTS = (
    "flambeau_parallel_for",
    "flambeau_pool",
    "flambeau_pool_init",
    "flambeau_pool_stop",
    "flambeau_spin",
)


def module(backend: str | None = None) -> str:
    """IR of the pool; `backend` is one of threads_os.BACKENDS, this system's own if None."""
    shared = (threads_worker.STATE, threads_os.primitives(backend), threads_worker.WORKER)
    return "\n".join((*shared, _PARALLEL, _END))


# Parts of 512 and more are rounded up to 64, so that boundaries fall between vectors and lines.
_PARALLEL = f"""
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)

define internal void @post(i32 %parts) {{
entry:
  br label %loop
loop:
  %w = phi i32 [ 1, %entry ], [ %next, %posted ]
  %asleep = phi i1 [ false, %entry ], [ %any, %posted ]
  %more = icmp slt i32 %w, %parts
  br i1 %more, label %send, label %sent
send:
  %next = add i32 %w, 1
  %mail = call ptr @mailbox(i32 %w)
  %pair = cmpxchg ptr %mail, i32 {EMPTY}, i32 {POSTED} seq_cst seq_cst
  %ok = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %ok, label %posted, label %defer
defer:
  store atomic i32 {DEFERRED}, ptr %mail seq_cst, align 4
  br label %posted
posted:
  %any = phi i1 [ %asleep, %send ], [ true, %defer ]
  br label %loop
sent:
  br i1 %asleep, label %rouse, label %done
rouse:
  call void @wake_some(i32 1)
  br label %done
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
  switch i32 %seen, label %taken [ i32 {POSTED}, label %take
                                   i32 {DEFERRED}, label %take ]
take:
  %deferred = icmp eq i32 %seen, {DEFERRED}
  %after = select i1 %deferred, i32 {ASLEEP}, i32 {EMPTY}
  %pair = cmpxchg ptr %mail, i32 %seen, i32 %after seq_cst seq_cst
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

; The caller waits a quarter as long as an idle worker: a part that somebody else runs may need this very core.
define internal void @finish() {{
entry:
{at("pending", PENDING)}
{at("asleep_at", CALLER_ASLEEP)}
{at("spins_at", SPINS)}
  %spins = load i32, ptr %spins_at
  %limit = lshr i32 %spins, 2
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
{at("busy", BUSY)}
{at("threads_at", THREADS)}
{at("started_at", STARTED)}
{at("pending", PENDING)}
{at("body_at", BODY)}
{at("args_at", ARGS)}
{at("extent_at", EXTENT)}
{at("part_at", PART)}
  %work = icmp sgt i64 %extent, 0
  br i1 %work, label %count, label %done
count:
  %threads32 = load atomic i32, ptr %threads_at monotonic, align 4
  %threads = zext i32 %threads32 to i64
  %mixed = and i64 %grain, {MOST}
  %most = lshr i64 %mixed, {MOST_AT}
  %alone = xor i64 %grain, %mixed
  %bounded = icmp ne i64 %most, 0
  %limit = select i1 %bounded, i64 %most, i64 %threads
  %least = call i64 @llvm.smax.i64(i64 %alone, i64 1)
  %fit = udiv i64 %extent, %least
  %room = call i64 @llvm.smin.i64(i64 %limit, i64 %threads)
  %n = call i64 @llvm.smin.i64(i64 %fit, i64 %room)
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
{at("busy", BUSY)}
{at("started_at", STARTED)}
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
  %was = atomicrmw xchg ptr %mail, i32 {STOP} seq_cst
  %asleep = icmp eq i32 %was, {ASLEEP}
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
  store atomic i32 {EMPTY}, ptr %box seq_cst, align 4
  br label %collect
done:
  store i32 0, ptr %started_at
  ret void
}}
"""
