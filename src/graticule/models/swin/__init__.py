"""The parts that HEAL-SWIN and its plane twin share: windows, attention, blocks, the U-Net of tokens."""
