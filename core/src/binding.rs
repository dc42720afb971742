//! What a graphics adapter binds at once.

/// WebGPU's `maxStorageBufferBindingSize` where a device promises no more, in bytes: the longest stretch of memory that a
/// kernel can be given. What is larger is kept, and computed, in parts.
pub const LARGEST_BINDING: usize = 128 << 20;
