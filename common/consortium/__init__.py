"""What a consortium's server and its hospitals both know: the two files they exchange, how processes are kept up."""
