_base_ = './adamw_6e.py'

# A lower rate, as is usual for transformers; others were not tried.
_base_.optim_wrapper.optimizer.lr = 1e-3
_base_.param_scheduler[0].eta_max = 1e-3
