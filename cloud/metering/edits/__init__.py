"""Edits of readings by staff: versions with a reason, their effect told before they count."""
