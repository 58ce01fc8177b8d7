//! Every integration test, in one binary: through gRPC and the command line, against real parts.

mod lifecycle;
