"""PostgreSQL: statements, connections and leases."""
