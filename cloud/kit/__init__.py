"""What knows no domain: database, migrations, money, periods, security, paging, jobs."""
