"""The trainer: SFT, sequence distillation, RLVR and PerMix-RLVR on TRL, a short file each."""
