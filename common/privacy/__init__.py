"""Differential privacy of patients: secret streams, noise, what steps cost, and what a hospital has spent."""
