//! Where in the audit history's segment files the next step goes. Rolls by bytes, at the same step
//! on every replica, because it is counted here and not where the files are.

use crate::limits::SEGMENT_BYTES;

/// The segment being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPosition {
    /// Its number, from 1.
    pub number: u64,
    /// Index of its first step.
    pub first: u64,
    /// Bytes of the frames in it.
    pub bytes: u64,
    /// Bytes it may have before the next one begins; the same on every replica.
    pub bytes_max: u64,
}

impl SegmentPosition {
    pub(crate) fn new(bytes_max: u64) -> SegmentPosition {
        SegmentPosition { number: 1, first: 0, bytes: 0, bytes_max }
    }

    /// Counts a frame of the step at `index`; true if it begins a new segment.
    pub(crate) fn add(&mut self, index: u64, frame_bytes: u64) -> bool {
        let rolls = self.bytes > 0 && self.bytes + frame_bytes > self.bytes_max;
        if rolls {
            *self = SegmentPosition { number: self.number + 1, first: index, bytes: 0, ..*self };
        }
        self.bytes += frame_bytes;
        rolls
    }
}

impl Default for SegmentPosition {
    fn default() -> Self {
        SegmentPosition::new(SEGMENT_BYTES)
    }
}
