"""Small kernels in IR text."""

ADD = """
define void @add(ptr %args, i64 %begin, i64 %end, i64 %worker) {
entry:
  %array = load ptr, ptr %args
  %amount_at = getelementptr i64, ptr %args, i64 1
  %amount = load i64, ptr %amount_at
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %at = getelementptr i64, ptr %array, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, %amount
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}
"""

# parts[worker] = (begin, end)
PARTS = """
define void @parts(ptr %args, i64 %begin, i64 %end, i64 %worker) {
  %table = load ptr, ptr %args
  %row = shl i64 %worker, 1
  %at = getelementptr i64, ptr %table, i64 %row
  store i64 %begin, ptr %at
  %at1 = getelementptr i64, ptr %at, i64 1
  store i64 %end, ptr %at1
  ret void
}
"""

# out[i] = args[i], for i < extent
COPY_ARGS = """
define void @copy_args(ptr %args, i64 %begin, i64 %end, i64 %worker) {
entry:
  %out = load ptr, ptr %args
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %next = add i64 %i, 1
  %from = getelementptr i64, ptr %args, i64 %next
  %value = load i64, ptr %from
  %to = getelementptr i64, ptr %out, i64 %i
  store i64 %value, ptr %to
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""

# Each part adds 1 to all of its row of `width` numbers through a parallel loop of its own.
NESTED = """
declare void @flambeau_parallel_for(ptr, ptr, i64, i64)

define internal void @inner(ptr %args, i64 %begin, i64 %end, i64 %worker) {
entry:
  %row = load ptr, ptr %args
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %at = getelementptr i64, ptr %row, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}

define void @nested(ptr %args, i64 %begin, i64 %end, i64 %worker) {
entry:
  %own = alloca [1 x i64]
  %base = load ptr, ptr %args
  %width_at = getelementptr i64, ptr %args, i64 1
  %width = load i64, ptr %width_at
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %offset = mul i64 %i, %width
  %row = getelementptr i64, ptr %base, i64 %offset
  store ptr %row, ptr %own
  call void @flambeau_parallel_for(ptr @inner, ptr %own, i64 %width, i64 1)
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}
"""


def constant(value):
    """A function that returns a number: one module for each number."""
    return f"define i64 @constant() {{\n  ret i64 {value}\n}}\n"
