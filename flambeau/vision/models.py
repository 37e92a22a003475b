"""LeNet, AlexNet, VGG and ResNet with torchvision's parameter names. There are no trained weights to download."""

from __future__ import annotations

from flambeau import nn
from flambeau.ops.view import flatten

__all__ = [
    "VGG", "AlexNet", "BasicBlock", "Bottleneck", "LeNet", "ResNet", "alexnet", "lenet", "resnet18", "resnet34", "resnet50",
    "resnet101", "resnet152", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip


def refuse_weights(weights) -> None:
    if weights:
        raise NotImplementedError("models: no trained weights are shipped or downloaded; load a state_dict with torch.load")


class LeNet(nn.Module):
    """LeCun et al., 1998, for 1x32x32 (or other channels)."""

    def __init__(self, num_classes=10, channels=1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes))  # fmt: skip

    def forward(self, x):
        return self.classifier(flatten(self.features(x), 1))


class AlexNet(nn.Module):
    """Five convolutions and three linear layers (Krizhevsky, 2014), as torchvision's; for images of 224x224."""

    def __init__(self, num_classes=1000, dropout=0.5):
        super().__init__()
        relu = lambda: nn.ReLU(inplace=True)  # noqa: E731
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), relu(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), relu(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), relu(), nn.Conv2d(384, 256, 3, padding=1), relu(),
            nn.Conv2d(256, 256, 3, padding=1), relu(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 36, 4096), relu(), nn.Dropout(dropout), nn.Linear(4096, 4096), relu(),
            nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


class VGG(nn.Module):
    """Stacks of 3x3 convolutions between poolings (Simonyan and Zisserman, 2014), as torchvision's."""

    PLANS = {
        11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
        13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
        16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
        19: (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"),
    }

    def __init__(self, depth=16, num_classes=1000, batch_norm=False, dropout=0.5):
        super().__init__()
        layers: list = []
        channels = 3
        for v in self.PLANS[depth]:
            if v == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(channels, v, 3, padding=1), *([nn.BatchNorm2d(v)] if batch_norm else []), nn.ReLU(inplace=True)]
            channels = v
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 49, 4096), nn.ReLU(True), nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(True),
            nn.Dropout(dropout), nn.Linear(4096, num_classes),
        )  # fmt: skip
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(m.bias)
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Blocks whose output is added to their input (He et al., 2015), as torchvision's."""

    def __init__(self, block, layers, num_classes=1000):
        super().__init__()
        self.inplanes = 64
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (planes, count) in enumerate(zip((64, 128, 256, 512), layers, strict=True)):
            setattr(self, f"layer{i + 1}", self._layer(block, planes, count, 1 if i == 0 else 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def _layer(self, block, planes, count, stride):
        down = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            down = nn.Sequential(
                nn.Conv2d(self.inplanes, planes * block.expansion, 1, stride, bias=False), nn.BatchNorm2d(planes * block.expansion))  # fmt: skip
        blocks = [block(self.inplanes, planes, stride, down)]
        self.inplanes = planes * block.expansion
        return nn.Sequential(*blocks, *[block(self.inplanes, planes) for _ in range(count - 1)])

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(flatten(self.avgpool(x), 1))


def lenet(**kwargs):
    """LeNet(**kwargs): two convolutions and three linear layers."""
    return LeNet(**kwargs)


def alexnet(weights=None, **kwargs):
    """AlexNet(**kwargs); `weights` must be None: there are none to download."""
    refuse_weights(weights or kwargs.pop("pretrained", None))
    return AlexNet(**kwargs)


def vgg(depth: int, batch_norm: bool):
    def make(weights=None, **kwargs):
        refuse_weights(weights or kwargs.pop("pretrained", None))
        return VGG(depth, batch_norm=batch_norm, **kwargs)

    make.__name__ = f"vgg{depth}" + ("_bn" if batch_norm else "")
    make.__doc__ = f"VGG of {depth} layers" + (" with batch norm" if batch_norm else "") + "; `weights` must be None."
    return make


def resnet(depth: int, block, layers):
    def make(weights=None, **kwargs):
        refuse_weights(weights or kwargs.pop("pretrained", None))
        return ResNet(block, layers, **kwargs)

    make.__name__, make.__doc__ = f"resnet{depth}", f"ResNet of {depth} layers; `weights` must be None."
    return make


vgg11, vgg13, vgg16, vgg19 = (vgg(d, False) for d in (11, 13, 16, 19))
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (vgg(d, True) for d in (11, 13, 16, 19))
resnet18, resnet34 = resnet(18, BasicBlock, (2, 2, 2, 2)), resnet(34, BasicBlock, (3, 4, 6, 3))
resnet50, resnet101 = resnet(50, Bottleneck, (3, 4, 6, 3)), resnet(101, Bottleneck, (3, 4, 23, 3))
resnet152 = resnet(152, Bottleneck, (3, 8, 36, 3))
