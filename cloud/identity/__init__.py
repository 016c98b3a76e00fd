"""Who may do what: users, roles, project and resident scopes, tokens, the audit trail."""
