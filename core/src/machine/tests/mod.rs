//! What a node decides, row by row, and what hostile peers and chains cannot make it do.

mod attacks;
mod blocks;
mod commands;
mod life;
mod messages;
mod outbox;
mod recovery;
mod space;
mod tally;
mod versions;
mod virtual_messages;
mod virtuals;
