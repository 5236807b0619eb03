"""Teaching cases: the sheet, and the addresses of its exports."""
