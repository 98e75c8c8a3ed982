"""What one study needs and has no room for in its own file; what several need is in ``tools``.

arms and vgg are parts of flatness, basins of escape, decoder of slingshots, poison of minefield,
reuse of double-descent, slices of landscape, symbols of samples, tangent of ntk, temperatures of
weather.
"""
