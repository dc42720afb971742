// Numbers of both matrices. `weight_at` gives a place in the right one, `start` in the left one.

const NOWHERE = 0xffffffffu;
// A phase of a strided gradient may meet no tap at all: its loops then run zero times.
const DEPTH = max(TAPS, 1u) * DEPTH_OF_TAP;
