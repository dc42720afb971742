//! A rule applied to all numbers of a parameter on the processor.

use std::array;
use std::sync::{Mutex, PoisonError};

use super::rule::{Rule, Work};

/// All numbers of a parameter, their gradients and their slots.
pub(super) struct Sweep<'a, 'b> {
    pub(super) values: &'a mut [f32],
    pub(super) gradients: &'a [f32],
    pub(super) slots: &'a mut [&'b mut [f32]],
}

/// Numbers that one core takes at a time. Each is computed by itself, so results hang neither on this nor on cores.
const SHARE: usize = 1 << 16;

/// Numbers that are in registers and the nearest cache at a time.
const BLOCK: usize = 64;

/// A core's share.
struct Share<'a, const SLOTS: usize> {
    values: &'a mut [f32],
    gradients: &'a [f32],
    slots: [&'a mut [f32]; SLOTS],
}

impl Work for Sweep<'_, '_> {
    type Made = ();

    fn with<const SLOTS: usize>(self, rule: &impl Rule<SLOTS>) {
        let count = self.values.len();
        assert_eq!(self.gradients.len(), count, "a gradient for each number");
        assert_eq!(self.slots.len(), SLOTS, "the rule's slots");
        let mut slots = self.slots.iter_mut();
        let mut slots: [_; SLOTS] = array::from_fn(|_| {
            let slot = slots.next().map(|slot| &mut **slot);
            slot.unwrap_or_default().chunks_mut(SHARE)
        });
        let shares = self
            .values
            .chunks_mut(SHARE)
            .zip(self.gradients.chunks(SHARE));
        let shares: Vec<Mutex<Share<'_, SLOTS>>> = shares
            .map(|(values, gradients)| {
                Mutex::new(Share {
                    values,
                    gradients,
                    slots: slots.each_mut().map(|slot| slot.next().unwrap_or_default()),
                })
            })
            .collect();
        rekindle_cpu::parallel(shares.len(), |index| {
            // Nobody else asks for this one.
            let mut share = shares[index].lock().unwrap_or_else(PoisonError::into_inner);
            share.sweep(rule);
        });
    }
}

impl<const SLOTS: usize> Share<'_, SLOTS> {
    /// Block by block, each copied out and in again, so that the compiler sees arrays that do not overlap.
    fn sweep(&mut self, rule: &impl Rule<SLOTS>) {
        let count = self.values.len();
        let mut start = 0;
        while start + BLOCK <= count {
            let range = start..start + BLOCK;
            let mut values = [0.0; BLOCK];
            let mut gradients = [0.0; BLOCK];
            values.copy_from_slice(&self.values[range.clone()]);
            gradients.copy_from_slice(&self.gradients[range.clone()]);
            let mut slots = [[0.0; BLOCK]; SLOTS];
            for (own, slot) in slots.iter_mut().zip(&self.slots) {
                own.copy_from_slice(&slot[range.clone()]);
            }
            for i in 0..BLOCK {
                let mut kept = array::from_fn(|slot| slots[slot][i]);
                values[i] = rule.step(values[i], gradients[i], &mut kept);
                for slot in 0..SLOTS {
                    slots[slot][i] = kept[slot];
                }
            }
            self.values[range.clone()].copy_from_slice(&values);
            for (own, slot) in slots.iter().zip(&mut self.slots) {
                slot[range.clone()].copy_from_slice(own);
            }
            start += BLOCK;
        }
        for i in start..count {
            let mut kept = array::from_fn(|slot| self.slots[slot][i]);
            self.values[i] = rule.step(self.values[i], self.gradients[i], &mut kept);
            for (slot, kept) in self.slots.iter_mut().zip(kept) {
                slot[i] = kept;
            }
        }
    }
}
