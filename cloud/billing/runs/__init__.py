"""Bill runs: drafts of many accounts, looked at, approved, issued, and archived as documents."""
