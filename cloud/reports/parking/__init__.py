"""Reports of parking: turnover, occupancy, revenue, openings by hand, stays that nobody can match."""
