"""What users have -> drafts: folders, archives, DICOM, volumes, slides, and the reports beside them."""
