_base_ = '../../selfy/tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py'
