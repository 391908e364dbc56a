//! Finds the end of a JSON value without reading the value. Most of an object is skipped, several times, so this works on
//! blocks: a mask has one bit for each byte of a block.
//!
//! The end is meaningful for valid JSON only. For invalid JSON, it is any position in the text, or there is no end.

/// The bytes of a block.
const BLOCK: usize = 64;
/// The bytes of a block in strings, most of which are short.
const SHORT_BLOCK: usize = 16;

/// The positions of special bytes in a block: one bit for each byte, the first byte in the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Masks {
    quotes: u64,
    backslashes: u64,
    /// Opening braces and brackets.
    opening: u64,
    /// Closing braces and brackets.
    closing: u64,
}

/// The bit in which braces and brackets differ: with it, a bracket becomes a brace.
const BRACE: u8 = b'{' ^ b'[';

impl Masks {
    /// The masks of the block at an offset. A last block that is shorter is filled with spaces.
    #[inline]
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    fn at(bytes: &[u8], offset: usize) -> Self {
        let rest = bytes.get(offset..).unwrap_or_default();
        match rest.first_chunk() {
            Some(block) => Self::of(block),
            None => {
                let mut block = [b' '; BLOCK];
                block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                Self::of(&block)
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mask =
            |matches: fn(u8) -> bool| block.iter().rev().fold(0, |mask, byte| mask << 1 | u64::from(matches(*byte)));
        Self {
            quotes: mask(|byte| byte == b'"'),
            backslashes: mask(|byte| byte == b'\\'),
            opening: mask(|byte| byte | BRACE == b'{'),
            closing: mask(|byte| byte | BRACE == b'}'),
        }
    }

    #[cfg(target_arch = "wasm32")]
    #[inline]
    #[target_feature(enable = "simd128")]
    fn of(block: &[u8; BLOCK]) -> Self {
        use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128_or};

        let mut masks = Self { quotes: 0, backslashes: 0, opening: 0, closing: 0 };
        let (parts, _) = block.as_chunks();
        for part in parts.iter().rev() {
            let bytes = vector(part);
            let braces = v128_or(bytes, u8x16_splat(BRACE));
            let mask = |bytes, byte| u64::from(u8x16_bitmask(u8x16_eq(bytes, u8x16_splat(byte))));
            masks.quotes = masks.quotes << 16 | mask(bytes, b'"');
            masks.backslashes = masks.backslashes << 16 | mask(bytes, b'\\');
            masks.opening = masks.opening << 16 | mask(braces, b'{');
            masks.closing = masks.closing << 16 | mask(braces, b'}');
        }
        masks
    }
}

/// The state between two blocks.
#[derive(Default)]
struct Walk {
    /// All ones inside a string.
    in_string: u64,
    /// One where the first byte of the next block is escaped.
    escaped: u64,
}

impl Walk {
    /// The quotation marks of a block that no backslash escapes.
    fn quotes(&mut self, masks: Masks) -> u64 {
        if masks.backslashes == 0 && self.escaped == 0 {
            return masks.quotes;
        }
        // A backslash that is itself escaped does not escape the next byte. For each run of backslashes, adding its start carries
        // to the position after its end; the parities of the two positions give the parity of its length.
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let backslashes = masks.backslashes & !self.escaped;
        let after = backslashes << 1 | self.escaped;
        let odd_starts = backslashes & !EVEN & !after;
        let (carried, overflow) = odd_starts.overflowing_add(backslashes);
        self.escaped = u64::from(overflow);
        let escaped = (EVEN ^ carried << 1) & after;
        masks.quotes & !escaped
    }

    /// The bytes of a block that are in a string, its first quotation mark included.
    fn strings(&mut self, quotes: u64) -> u64 {
        let mut strings = quotes;
        for distance in [1, 2, 4, 8, 16, 32] {
            strings ^= strings << distance;
        }
        strings ^= self.in_string;
        // If the last byte is in a string, the next block begins in it.
        self.in_string = 0u64.wrapping_sub(strings >> 63);
        strings
    }
}

/// The length of the rest of an object or a list, after its opening brace or bracket and with its closing one.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn rest_of_container(bytes: &[u8]) -> Option<usize> {
    let mut walk = Walk::default();
    let mut depth = 1;
    for index in 0..bytes.len().div_ceil(BLOCK) {
        let masks = Masks::at(bytes, index * BLOCK);
        let quotes = walk.quotes(masks);
        let outside = !walk.strings(quotes);
        let (opening, mut closing) = (masks.opening & outside, masks.closing & outside);
        if closing.count_ones() < depth {
            depth = depth + opening.count_ones() - closing.count_ones();
            continue;
        }
        // The end may be in this block: compare each closing brace with the opening ones before it.
        let mut closed = 0;
        while closing != 0 {
            let at = closing.trailing_zeros();
            closed += 1;
            let opened = (opening & ((1 << at) - 1)).count_ones();
            if depth + opened == closed {
                return Some(index * BLOCK + at as usize + 1);
            }
            closing &= closing - 1;
        }
        depth = depth + opening.count_ones() - closed;
    }
    None
}

/// The length of the rest of a string, after its opening quotation mark and without its closing one, and whether the string has
/// escapes.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn rest_of_string(bytes: &[u8]) -> Option<(usize, bool)> {
    // Most strings are short and have no escapes.
    let (blocks, _) = bytes.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        let special = special_in_strings(block);
        if special != 0 {
            let at = index * SHORT_BLOCK + special.trailing_zeros() as usize;
            return if bytes.get(at) == Some(&b'"') { Some((at, false)) } else { rest_with_escapes(bytes, at) };
        }
    }
    let end = blocks.len() * SHORT_BLOCK;
    let at = end + bytes.get(end..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    if bytes.get(at) == Some(&b'"') { Some((at, false)) } else { rest_with_escapes(bytes, at) }
}

/// Like [`rest_of_string`], for a string whose first escape is known.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn rest_with_escapes(bytes: &[u8], first: usize) -> Option<(usize, bool)> {
    let bytes = bytes.get(first..)?;
    let mut walk = Walk::default();
    for index in 0..bytes.len().div_ceil(BLOCK) {
        let quotes = walk.quotes(Masks::at(bytes, index * BLOCK));
        if quotes != 0 {
            return Some((first + index * BLOCK + quotes.trailing_zeros() as usize, true));
        }
    }
    None
}

/// The bytes of a block that end a string or begin an escape, one bit each.
#[cfg(not(target_arch = "wasm32"))]
fn special_in_strings(block: &[u8; SHORT_BLOCK]) -> u32 {
    block.iter().rev().fold(0, |mask, byte| mask << 1 | u32::from(matches!(byte, b'"' | b'\\')))
}

/// The bytes of a block that end a string or begin an escape, one bit each.
#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
fn special_in_strings(block: &[u8; SHORT_BLOCK]) -> u32 {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128_or};

    let bytes = vector(block);
    let quotes = u8x16_eq(bytes, u8x16_splat(b'"'));
    let backslashes = u8x16_eq(bytes, u8x16_splat(b'\\'));
    u32::from(u8x16_bitmask(v128_or(quotes, backslashes)))
}

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
fn vector(bytes: &[u8; SHORT_BLOCK]) -> core::arch::wasm32::v128 {
    let bytes = u128::from_le_bytes(*bytes);
    #[expect(clippy::cast_possible_truncation, reason = "these are the two halves")]
    core::arch::wasm32::u64x2(bytes as u64, (bytes >> 64) as u64)
}
