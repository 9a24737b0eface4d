//! File formats that money moves in: read and written, pure text in and out.
