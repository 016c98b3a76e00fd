"""From the broker into the database: one transaction per group of batches, acknowledged after COMMIT."""
