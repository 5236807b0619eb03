"""Quizzes: the teacher's desk, and the learners' addresses."""
