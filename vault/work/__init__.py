"""Work behind the request: the queue, the loopback gateway to ffmpeg, the worker and the reconciler."""
