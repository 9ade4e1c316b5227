"A shell that starts a job in the background tells it to ignore Ctrl-C; the tests that press Ctrl-C must work there, too."
import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN: signal.signal(signal.SIGINT, signal.default_int_handler)
