//! The allocator of the whole program: a grant is thousands of small allocations, and the system's
//! allocator took a sixth of our CPU.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
