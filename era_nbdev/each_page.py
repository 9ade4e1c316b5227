"""How `nbdev-test` tests this book: each page in a process of its own, which is forked from one that has imported what most pages need.

In one process for all pages nothing of a page is ever given back: after a hundred pages it has several gigabytes, and each of the groups of processes that later pages start copies the tables of all this memory. The key `test_setup` of pyproject.toml names `setup`. Written by hand, since it is not part of any page.
"""
import contextlib, gc, importlib, multiprocessing, re, sys, time
from collections import Counter
import nbdev.test

test_nb = nbdev.test.test_nb # nbdev's own, also after `setup`

OURS = re.compile(r'(?m)^(?:from|import) ((?:era_nbdev|torch|numpy|scipy|matplotlib|sklearn|fastcore)[\w.]*)')
SEVERAL = 100 # cells: more than one page has

def common(
    cells: list, # of all pages that are tested
    least: int = 3, # cells in which a module is imported
) -> list: # names of modules
    "What several pages import, of the packages that do nothing else when they are imported."
    found = Counter(name for cell in cells for name in set(OURS.findall(''.join(cell.source))))
    return sorted(name for name, n in found.items() if n >= least)

def _tell(pipe, args: tuple, kwargs: dict): # in the process of a page
    pipe.send(test_nb(*args, **kwargs))

def apart(*args, **kwargs): # as for nbdev's `test_nb`
    "What nbdev's `test_nb` returns for a page, from a process of its own."
    context, start = multiprocessing.get_context('fork'), time.time()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(theirs, args, kwargs))
    process.start()
    theirs.close()
    try: return ours.recv()
    except EOFError:
        print(f'{args[0]}: its process has died', file=sys.__stderr__)
        return False, time.time()-start
    finally:
        process.join()

def setup(
    cells: list, # of all pages that are tested
):
    "Called by `nbdev-test` before the first page."
    if sys.platform != 'linux': return # elsewhere a forked process may not use all libraries
    if len(cells) > SEVERAL:
        for name in [*common(cells), 'torch._dynamo']: # the first optimizer of a process imports the last
            with contextlib.suppress(Exception): # what is missing here is missed by its page
                importlib.import_module(name)
        gc.collect()
        gc.freeze() # what was imported is not looked through again in each page
    nbdev.test.test_nb = apart
