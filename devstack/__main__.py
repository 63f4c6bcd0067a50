import signal

# During the imports nothing runs that would have to be stopped, so Ctrl-C just ends the process; the CLI handles it
# after that.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from devstack.cli import main  # noqa: E402

main()
