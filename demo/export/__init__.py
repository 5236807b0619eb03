"""Teaching cases as files of other programs; what each writes says that its pictures are synthetic."""
