"""The worker pool's state, its protocol and its workers, as LLVM IR; its callers are threads_ir.

One job runs at a time. Its extent is cut into at most `threads` equal parts, or as many as its
grain allows (threads.within); the boundaries depend on extent, grain and thread count only, and
part i is always told that it is worker i.
Each worker w has a mailbox word on a cache line of its own:

    EMPTY -> POSTED      the caller, when part w of a job is there to be taken
    POSTED -> EMPTY      whoever takes it by compare-and-swap: worker w, or the caller itself,
                         which after its own part takes all parts that nobody has begun
    EMPTY -> ASLEEP      the worker, after spinning in vain
    ASLEEP -> DEFERRED   the caller: a part for a worker that somebody should wake
    DEFERRED -> POSTED   whoever is about to wake it: the caller wakes one worker and each worker
                         that was woken wakes two more, as waking is slow
    DEFERRED -> ASLEEP   the caller, when it takes the part before anybody was woken for it
    any -> STOP          the pool's end, before a fork

The job's fields are read only between taking a part and counting it as done (`pending`), and the
caller writes the next job only when `pending` is 0: a late worker cannot see half of a job. As the
caller takes what is left, a worker that is slow, or does not exist, costs time but never a hang.
`busy` is held from before the fields are written until the job is done; who does not get it (a
nested call, or a second Python thread) runs the whole extent itself.
"""

MAX_THREADS = 256

MOST_AT = 48  # the bit of a launch's grain where the most parts begin that it may be cut into; 0: no bound but the threads
MOST = 2 * MAX_THREADS - 1 << MOST_AT  # all its bits

# Byte offsets in @flambeau_pool. Words that different threads write are 128 bytes apart.
BUSY, PENDING, CALLER_ASLEEP, THREADS, SPINS, STARTED = 0, 128, 132, 256, 260, 264
BODY, ARGS, EXTENT, PART = 384, 392, 400, 408
_MAIL, _MAIL_STRIDE = 512, 128  # mailbox word, then at +8 the thread's handle
_SIZE = _MAIL + _MAIL_STRIDE * MAX_THREADS

EMPTY, POSTED, ASLEEP, STOP, DEFERRED = 0, 1, 2, 3, 4


def at(name, offset):
    """IR of the address of one field."""
    return f"  %{name} = getelementptr i8, ptr @flambeau_pool, i64 {offset}"


STATE = f"""
@flambeau_pool = global [{_SIZE} x i8] zeroinitializer, align 128

define internal ptr @mailbox(i32 %w) alwaysinline {{
  %i = zext i32 %w to i64
  %o = mul i64 %i, {_MAIL_STRIDE}
  %p = getelementptr i8, ptr getelementptr (i8, ptr @flambeau_pool, i64 {_MAIL}), i64 %o
  ret ptr %p
}}
"""


WORKER = f"""
define internal void @run_part(i32 %w) {{
entry:
{at("body_at", BODY)}
{at("args_at", ARGS)}
{at("extent_at", EXTENT)}
{at("part_at", PART)}
{at("pending", PENDING)}
{at("asleep_at", CALLER_ASLEEP)}
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

define internal void @wake_some(i32 %count) noinline {{
entry:
{at("started_at", STARTED)}
  %started = load atomic i32, ptr %started_at monotonic, align 4
  br label %loop
loop:
  %w = phi i32 [ 1, %entry ], [ %next, %step ]
  %left = phi i32 [ %count, %entry ], [ %rest, %step ]
  %inside = icmp sle i32 %w, %started
  %wanted = icmp sgt i32 %left, 0
  %more = and i1 %inside, %wanted
  br i1 %more, label %look, label %done
look:
  %next = add i32 %w, 1
  %mail = call ptr @mailbox(i32 %w)
  %seen = load atomic i32, ptr %mail monotonic, align 4
  %waits = icmp eq i32 %seen, {DEFERRED}
  br i1 %waits, label %claim, label %step
claim:
  %pair = cmpxchg ptr %mail, i32 {DEFERRED}, i32 {POSTED} seq_cst seq_cst
  %mine = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %mine, label %rouse, label %step
rouse:
  call void @wake(ptr %mail)
  %fewer = sub i32 %left, 1
  br label %step
step:
  %rest = phi i32 [ %left, %look ], [ %left, %claim ], [ %fewer, %rouse ]
  br label %loop
done:
  ret void
}}

define internal ptr @worker(ptr %arg) {{
entry:
  %wide = ptrtoint ptr %arg to i64
  %w = trunc i64 %wide to i32
  %mail = call ptr @mailbox(i32 %w)
{at("spins_at", SPINS)}
  br label %fresh
fresh:
  %limit = load i32, ptr %spins_at
  br label %look
look:
  %n = phi i32 [ 0, %fresh ], [ %n1, %again ]
  %seen = load atomic i32, ptr %mail monotonic, align 4
  switch i32 %seen, label %idle [ i32 {POSTED}, label %take
                                  i32 {DEFERRED}, label %take
                                  i32 {STOP}, label %end ]
take:
  %pair = cmpxchg ptr %mail, i32 %seen, i32 {EMPTY} seq_cst seq_cst
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
  %slept = cmpxchg ptr %mail, i32 {EMPTY}, i32 {ASLEEP} seq_cst seq_cst
  %agreed = extractvalue {{ i32, i1 }} %slept, 1
  br i1 %agreed, label %sleep, label %fresh
sleep:
  call void @wait(ptr %mail, i32 {ASLEEP})
  %now = load atomic i32, ptr %mail seq_cst, align 4
  %still = icmp eq i32 %now, {ASLEEP}
  br i1 %still, label %sleep, label %woken
woken:
  call void @wake_some(i32 2)
  br label %fresh
end:
  ret ptr null
}}

define internal void @start(i32 %wanted) noinline {{
entry:
{at("started_at", STARTED)}
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
  store atomic i32 {EMPTY}, ptr %mail seq_cst, align 4
  %ok = call i1 @spawn(ptr %handle, i32 %next)
  br i1 %ok, label %spawned, label %done
spawned:
  store atomic i32 %next, ptr %started_at monotonic, align 4
  br label %loop
done:
  ret void
}}
"""
