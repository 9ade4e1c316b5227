"Python reads this at its start when this folder is in PYTHONPATH: the program then waits after its n-th checkpoint until the file `go` is in the folder GATE."
import os, time
from pathlib import Path

gate, wanted, written = Path(os.environ['GATE']), int(os.environ['GATE_CHECKPOINTS']), 0
replace = os.replace

def replace_and_wait(source, target, **more):
    "`os.replace`, with which a run puts its files into place; the weights are the second file of a checkpoint."
    global written
    replace(source, target, **more)
    if Path(target).name != 'checkpoint.safetensors': return
    written += 1
    if written < wanted: return
    (gate/'held').touch()
    while not (gate/'go').exists(): time.sleep(.01)

os.replace = replace_and_wait
