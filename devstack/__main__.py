import signal

# Until there is something to stop, Ctrl-C just ends; cli takes over then.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from devstack.cli import main  # noqa: E402

main()
