"""What the experiments share; experiments/README.md says how one is written."""
