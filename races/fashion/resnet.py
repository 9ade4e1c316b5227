"A narrow ResNet-9, one-cycle learning rate, mirrored images."
import math, time
import torch
import torch.nn.functional as F
from era_nbdev.vision.resnet import resnet9

BATCH, PEAK, WIDTHS = 128, 0.01, (8, 16, 32, 64)

def scaled(images):
    "Pixels with mean 0 and standard deviation 1."
    return (torch.tensor(images).float()/255-0.286)/0.353

def train(images, labels, seconds, seed):
    "images: [N, 1, 28, 28] uint8, labels: [N]. Returns a model."
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    start, seconds = time.process_time(), 0.96*seconds
    x, y = scaled(images), torch.tensor(labels).long()
    model = resnet9(WIDTHS, in_channels=1)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    done, rows = 0., []
    while done < 1:
        if len(rows) < BATCH: rows = torch.randperm(len(x))
        chosen, rows = rows[:BATCH], rows[BATCH:]
        for group in optimizer.param_groups:
            group['lr'] = PEAK*min(done/0.2, (1.001-done)/0.8)
        batch = x[chosen]
        mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
        batch = torch.where(mirrored, batch.flip(3), batch)
        loss = F.cross_entropy(model(batch), y[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = (time.process_time()-start)/seconds
    return model.eval()

@torch.no_grad()
def classes(model, images):
    "images: [N, 1, 28, 28] uint8. Returns [N]; the mirrored image votes, too."
    torch.set_num_threads(1)
    x = scaled(images)
    return (model(x).softmax(1)+model(x.flip(3)).softmax(1)).argmax(1).numpy()
