"What the command `era` and `python -m era_nbdev` start: written by hand, since it must answer Ctrl-C before anything is imported."
import sys

def main() -> int:
    "The exit status of `era_nbdev.core.cli.main`; Ctrl-C while that is being imported is one line, too."
    try:
        from era_nbdev.core.cli import main as command
        return command()
    except KeyboardInterrupt:
        if '--debug' in sys.argv: raise
        print('era: stopped by SIGINT', file=sys.stderr)
        return 130

if __name__ == '__main__': sys.exit(main())
