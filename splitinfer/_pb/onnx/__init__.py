"""Generated from proto/ by scripts/proto. Do not edit."""
