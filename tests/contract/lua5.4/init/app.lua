error("wanted while loading")
