"What a type checker says about core, about the chapters on the list, and about a user's script, which also runs."
import os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT/'tests/typed_user.py'

# Modules of chapters without a complaint, in book order. The list only grows; all of core belongs to it.
CHAPTERS = '''
foundations.neurons
foundations.backprop
foundations.digits
foundations.tools
foundations.tensors
foundations.schedules
foundations.learner
foundations.callbacks
foundations.mnist
foundations.web
foundations.drawings
foundations.playground
foundations.load
foundations.cloud
foundations.measures
foundations.evaluation
foundations.tuning
vision.cnn
vision.convnets
vision.augment
vision.draws
vision.policies
vision.norms
vision.resnet
vision.cycle
vision.coresets
vision.scores
vision.ddp
vision.ranks
vision.photos
vision.imagenet
vision.throughput
llm.attention
llm.flash
llm.transformer
llm.translation
llm.tokenizers
llm.tokenizer_files
llm.fast_tokenizers
llm.fast_training
llm.sentencepiece
llm.subwords
llm.embeddings
llm.corpus
llm.parts
llm.gpt
llm.budget
llm.pretraining
llm.hub_settings
llm.checkpoints
llm.generate
llm.engine
llm.serving
llm.speculation
llm.precision
llm.overlap
llm.metrics
llm.code_tasks
llm.benchmarks
llm.evaluate
llm.ablations
efficiency.quantise
efficiency.kernels
efficiency.qat
efficiency.spectra
multimodal.vit
multimodal.pairs
multimodal.lit
multimodal.clip
multimodal.vit_data
multimodal.contrastive
multimodal.towers
multimodal.weights
multimodal.neighbours
multimodal.search
multimodal.image_tokens
multimodal.vision_language
rl.mdp
rl.q_learning
rl.copies
rl.vector
rl.replay
rl.dqn
rl.fast_dqn
rl.pixels
rl.policy
rl.fast
rl.ppo
rl.ppo_details
rl.actors
rl.td3
rl.continuous
rl.rewards
rl.rollouts
rl.loop
scale.crawl
scale.text
scale.quality
scale.dedup
scale.webtext
scale.stages
scale.collectives
scale.sharded
scale.pipeline
scale.tensor
scale.context
scale.experts
scale.layouts
scale.memory
scale.planner
scale.scaling
scale.scaling_laws
scale.family
scale.distributed_checkpoints
scale.steady
scale.llm70b
scale.streaming
scale.api
scale.overload
scale.engines
scale.deploy
apps.retrieval
apps.dense
apps.chunks
apps.rag
apps.tutor_app
apps.tutor_load
apps.capstone
'''.split()
NOT_YET: list = [] # of core

def test_types():
    modules = [ROOT/'era_nbdev'/f'{name.replace(".", "/")}.py' for name in CHAPTERS]
    core = [path for path in (ROOT/'era_nbdev/core').glob('*.py') if path.name not in NOT_YET]
    checked = [*core, *modules, SCRIPT]
    command = [sys.executable, '-m', 'basedpyright', '--pythonpath', sys.executable, *map(str, checked)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert answer.returncode == 0, answer.stdout[-5000:]

def test_the_package_says_that_it_is_typed():
    assert (ROOT/'era_nbdev/py.typed').exists()
    assert "'py.typed'" in (ROOT/'setup.py').read_text()

def test_a_users_script_runs(tmp_path):
    away = dict(ERA_CACHE=str(tmp_path/'cache'), ERA_MIRROR='http://127.0.0.1:9')
    kept = {k: v for k, v in os.environ.items() if k != 'ERA_DATA'}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH', '')]))
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    env = kept | away | dict(PYTHONPATH=path, OMP_NUM_THREADS='1')
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr[-5000:]
    loss, n_characters, name, n_predictions = answer.stdout.split()[-4:]
    assert float(loss) < 2.3 and int(n_characters) > 0 and name and int(n_predictions) > 0
