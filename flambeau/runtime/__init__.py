"""Where machine code and memory live: JIT and its cache, launches, threads, allocator, random."""
