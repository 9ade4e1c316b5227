"Fits linear dynamics to random pushes, and steers by the linear-quadratic regulator."
import numpy as np

STEPS, PRICE = 20, 0.01 # random pushes; of a push

def collect(env, rng):
    "Observations, pushes of -1 or +1, and the observations behind them."
    rows, over = [], True
    while len(rows) < STEPS:
        if over: observation = env.reset()
        push = int(rng.integers(2))
        following, _, over = env.step(push)
        rows.append((observation, 2*push-1, following))
        observation = following
    before, pushes, after = map(np.array, zip(*rows))
    return before, pushes, after

def regulator(A, B):
    "Gains of the cheapest pushes, from the Riccati equation iterated until it stands."
    P = np.eye(4)
    for _ in range(500):
        gain = B @ P @ A/(PRICE+B @ P @ B)
        P = np.eye(4)+A.T @ P @ (A-np.outer(B, gain))
    return gain

def train(env, seconds, seed):
    "env: reset() and step(action). Returns a model."
    before, pushes, after = collect(env, np.random.default_rng(seed))
    known = np.column_stack([before, pushes])
    dynamics = np.linalg.lstsq(known, after, rcond=None)[0].T # [4, 5]
    return -regulator(dynamics[:, :4], dynamics[:, 4])

def actions(model, observations):
    "observations: [N, 4]. Returns [N], 0 or 1 for each."
    return (observations @ model > 0).astype(int)
