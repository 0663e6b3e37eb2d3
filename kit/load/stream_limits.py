"""Bounds that every client of an event stream keeps."""

OPEN_S_MAX = 3.0
CLOSE_S_MAX = 1.0
MESSAGE_BYTES_MAX = 64 * 1024
ABNORMAL_CLOSURE = 1006  # RFC 6455: the code of a connection that ended without a close frame
