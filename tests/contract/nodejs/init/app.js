throw new RangeError('cannot be loaded');
