// 64-bit floats as IEEE 754 has them, in whole numbers, since no adapter need have them: rounded to the nearest, to the
// even one of two. Numbers too small to be normal are 0; what is divided by 0 is too large for anything.

// What it is: (-1)^negative * (high * 2^32 + low) * 2^(exponent - 63), the highest bit set, the lowest eleven not; 0 is
// nothing at all.
struct Real {
    high: u32,
    low: u32,
    exponent: i32,
    negative: bool,
}

const NOTHING = Real(0u, 0u, 0i, false);

// The float with these bits.
fn real(low: u32, high: u32) -> Real {
    let exponent = (high >> 20u) & 2047u;
    if exponent == 0u {
        return NOTHING;
    }
    let top = 0x80000000u | ((high & 0xfffffu) << 11u) | (low >> 21u);
    return Real(top, low << 11u, i32(exponent) - 1023, high >> 31u != 0u);
}

fn whole(value: i32) -> Real {
    if value == 0 {
        return NOTHING;
    }
    let size = u32(abs(value));
    let zeros = countLeadingZeros(size);
    return Real(size << zeros, 0u, 31 - i32(zeros), value < 0);
}

fn negated(a: Real) -> Real {
    return Real(a.high, a.low, a.exponent, !a.negative);
}

// Whether it is less than 0.
fn is_below(a: Real) -> bool {
    return a.negative && a.high != 0u;
}

// Without what stands behind the point and without the sign, up to 2^30.
fn cut(a: Real) -> i32 {
    if a.high == 0u || a.exponent < 0 {
        return 0;
    }
    if a.exponent >= 30 {
        return 1i << 30u;
    }
    return i32(a.high >> u32(31 - a.exponent));
}

// Of a number with its highest bit set; `more` says that something is left below its lowest bit.
fn rounded(high: u32, low: u32, more: bool, exponent: i32, negative: bool) -> Real {
    let rest = low & 0x7ffu;
    var made = Real(high, low & 0xfffff800u, exponent, negative);
    if rest > 0x400u || (rest == 0x400u && (more || (low & 0x800u) != 0u)) {
        made.low += 0x800u;
        if made.low == 0u {
            made.high += 1u;
            if made.high == 0u {
                made.high = 0x80000000u;
                made.exponent += 1;
            }
        }
    }
    return made;
}

fn plus(first: Real, second: Real) -> Real {
    var a = first;
    var b = second;
    if b.high == 0u {
        return a;
    }
    if a.high == 0u {
        return b;
    }
    let swapped = b.exponent > a.exponent
        || (b.exponent == a.exponent && (b.high > a.high || (b.high == a.high && b.low > a.low)));
    if swapped {
        a = second;
        b = first;
    }
    // To the same exponent; what falls off at the end is only remembered.
    let shift = u32(a.exponent - b.exponent);
    var high = b.high;
    var low = b.low;
    var more = false;
    if shift >= 64u {
        high = 0u;
        low = 0u;
        more = true;
    } else if shift >= 32u {
        let rest = shift - 32u;
        more = low != 0u || (rest > 0u && (high & ((1u << rest) - 1u)) != 0u);
        low = high >> rest;
        high = 0u;
    } else if shift > 0u {
        more = (low & ((1u << shift) - 1u)) != 0u;
        low = (low >> shift) | (high << (32u - shift));
        high = high >> shift;
    }
    if a.negative == b.negative {
        let sum_low = a.low + low;
        let carry = select(0u, 1u, sum_low < low);
        let sum_high = a.high + high + carry;
        let carried = sum_high < a.high || (sum_high == a.high && (high | carry) != 0u);
        if carried {
            let fallen = (sum_low & 1u) != 0u;
            return rounded(0x80000000u | (sum_high >> 1u), (sum_low >> 1u) | (sum_high << 31u), more || fallen, a.exponent + 1, a.negative);
        }
        return rounded(sum_high, sum_low, more, a.exponent, a.negative);
    }
    // What was only remembered is taken away, too: one less, and the rest of that one left.
    let lent = select(0u, 1u, more);
    var left_low = a.low - low;
    var left_high = a.high - high - select(0u, 1u, a.low < low);
    if lent != 0u {
        left_high -= select(0u, 1u, left_low == 0u);
        left_low -= 1u;
    }
    if (left_high | left_low) == 0u {
        return NOTHING;
    }
    var exponent = a.exponent;
    if left_high == 0u {
        left_high = left_low;
        left_low = 0u;
        exponent -= 32;
    }
    let zeros = countLeadingZeros(left_high);
    if zeros > 0u {
        left_high = (left_high << zeros) | (left_low >> (32u - zeros));
        left_low = left_low << zeros;
        exponent -= i32(zeros);
    }
    return rounded(left_high, left_low, more, exponent, a.negative);
}

// The upper and the lower half of a product.
fn product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u), (right << 16u) | (low & 0xffffu));
}

fn times(a: Real, b: Real) -> Real {
    if a.high == 0u || b.high == 0u {
        return NOTHING;
    }
    let top = product(a.high, b.high);
    let left = product(a.high, b.low);
    let right = product(a.low, b.high);
    let bottom = product(a.low, b.low);
    // Words from the lowest: bottom.y, third, low, high.
    var third = bottom.x + left.y;
    var carry = select(0u, 1u, third < left.y);
    third += right.y;
    carry += select(0u, 1u, third < right.y);
    var low = top.y + carry;
    var high = top.x + select(0u, 1u, low < carry);
    low += left.x;
    high += select(0u, 1u, low < left.x);
    low += right.x;
    high += select(0u, 1u, low < right.x);
    var exponent = a.exponent + b.exponent + 1;
    if (high & 0x80000000u) == 0u {
        high = (high << 1u) | (low >> 31u);
        low = (low << 1u) | (third >> 31u);
        third = third << 1u;
        exponent -= 1;
    }
    return rounded(high, low, (third | bottom.y) != 0u, exponent, a.negative != b.negative);
}

fn over(a: Real, b: Real) -> Real {
    let negative = a.negative != b.negative;
    if a.high == 0u && b.high != 0u {
        return NOTHING;
    }
    if b.high == 0u {
        return Real(0x80000000u, 0u, 1024, negative);
    }
    // A bit of room; the lowest bits are free.
    var high = a.high >> 1u;
    var low = (a.low >> 1u) | (a.high << 31u);
    let by_high = b.high >> 1u;
    let by_low = (b.low >> 1u) | (b.high << 31u);
    var exponent = a.exponent - b.exponent;
    if high < by_high || (high == by_high && low < by_low) {
        high = (high << 1u) | (low >> 31u);
        low = low << 1u;
        exponent -= 1;
    }
    // 56 bits of the quotient, the first of them set.
    var made_high = 0u;
    var made_low = 0u;
    for (var bit = 0u; bit < 56u; bit++) {
        made_high = (made_high << 1u) | (made_low >> 31u);
        made_low = made_low << 1u;
        if high > by_high || (high == by_high && low >= by_low) {
            high -= by_high + select(0u, 1u, low < by_low);
            low -= by_low;
            made_low |= 1u;
        }
        high = (high << 1u) | (low >> 31u);
        low = low << 1u;
    }
    let more = (high | low) != 0u;
    return rounded((made_high << 8u) | (made_low >> 24u), made_low << 8u, more, exponent, negative);
}
