"""Small synthetic worlds whose answers are known on paper."""
