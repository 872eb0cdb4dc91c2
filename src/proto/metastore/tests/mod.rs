mod acceptor;
mod proposer;
