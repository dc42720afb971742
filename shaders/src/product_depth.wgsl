// Numbers of both matrices. `weight_at` gives a place in the right one, `start` in the left one.

const NOWHERE = 0xffffffffu;
