"""Every knob of visionlab: one folder a noun, one commented YAML file a choice."""
