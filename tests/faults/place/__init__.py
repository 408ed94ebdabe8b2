"""Where the tables are: behind a pooler, beside a replica, on two servers, with too few connections."""
